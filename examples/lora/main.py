"""Three sites adapt a Hugging Face model to data of their own; only its LoRA weights travel.

A small vision transformer has learned to read digits from images that are public. The sites' images are negatives, on
which it fails. They train low-rank additions to its layers and leave the rest of it as it is.
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np

import flame
from flame.common import extra

with extra.needed():
    import torch
    from peft import LoraConfig, get_peft_model
    from sklearn.datasets import load_digits
    from transformers import ViTConfig, ViTForImageClassification

SIZES = ViTConfig(
    image_size=8,
    patch_size=2,
    num_channels=1,
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=128,
    num_labels=10,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
LORA = LoraConfig(r=2, lora_alpha=4, target_modules="all-linear")


def images():
    """1,797 images as [n, 1, 8, 8] in -1..1, and the digits [n]; in a fixed random order."""
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    return torch.tensor(pixels[order] / 8 - 1, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels[order])


def learn(model, pixels, labels, epochs, rate):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(32):
            loss = model(pixel_values=pixels[batch], labels=labels[batch]).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {"train-loss": loss.item()}


@torch.no_grad()
def accuracy(model, pixels, labels):
    model.eval()
    return (model(pixel_values=pixels).logits.argmax(-1) == labels).float().mean().item()


def public_model(path, epochs):
    """The model that everybody begins from; learned once and kept in a file."""
    torch.manual_seed(0)
    model = ViTForImageClassification(SIZES)
    if path.exists():
        model.load_state_dict(torch.load(path))
    else:
        pixels, labels = images()
        learn(model, pixels[:900], labels[:900], epochs, 2e-3)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), path)
    return model


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # peft calls what will be renamed
    parser = argparse.ArgumentParser(description="digits, three sites, LoRA")
    parser.add_argument("--base", type=Path, default=Path("runs/lora-base.pt"))
    parser.add_argument("--base-epochs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--out", default="runs/lora")
    args = parser.parse_args()
    base = public_model(args.base, args.base_epochs)
    pixels, labels = images()
    pixels = -pixels
    before = accuracy(base, pixels[1500:], labels[1500:])
    result = flame.run(
        model=lambda: get_peft_model(public_model(args.base, args.base_epochs), LORA),
        train=lambda model, site: learn(model, *site, epochs=4, rate=1e-2),
        evaluate=lambda model: {"test-accuracy": accuracy(model, pixels[1500:], labels[1500:])},
        data=[(pixels[part], labels[part]) for part in np.array_split(np.arange(900, 1500), 3)],
        rounds=args.rounds,
        out=args.out,
    )
    report = {
        "accuracy-before": round(before, 3),
        "accuracy": round(result.final("test-accuracy"), 3),
        "bytes-of-the-model": sum(p.nbytes for p in base.parameters()),
        "bytes-that-travel": result.weights().nbytes,
    }
    print(json.dumps(report, indent=2))
