"""Models that are `torch.nn.Module`: the only file that names torch, imported when a torch model is met.

The tensors of a model's `state_dict()` are laid once over one flat buffer per dtype, and `data` of every
parameter and buffer becomes a view of it, so that loading, copying and subtracting a whole model is one pass
over contiguous memory. Each use makes sure that the tensors still are those views, and lays them anew when
the user has replaced some (`.half()`, `load_state_dict(assign=True)`, a new submodule). A model that cannot
be laid flat goes tensor by tensor: one spread over devices, or with tensors that overlap or are not
contiguous, several dtypes that travel as the same one, or a `state_dict` of its own.

Of a `peft.PeftModel`, such as a language model with LoRA, only what is trained travels; what is frozen is expected to
be the same on every worker from the beginning.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from flame.errors import WeightsError
from flame.weights.layout import TYPE_NAMES, Allocate, Layout, Weights, carried, plain_memory
from flame.weights.target import Target

Tensors = Mapping[str, torch.Tensor]
STANDS_FOR = {torch.bfloat16: "float32"} | {
    getattr(torch, name): name for name in (*TYPE_NAMES, "bool", "uint8", "uint16", "uint32")
}


def adapt(model: Any) -> TorchAdapter | None:
    """The adapter of a torch module; None for anything else."""
    return TorchAdapter(model) if isinstance(model, torch.nn.Module) else None


class TorchAdapter:
    """A torch model, seen as flat weights; see `flame.weights.adapters.Adapter`.

    Tied tensors travel once, under the first of their names.
    """

    __slots__ = ("_first", "_held", "layout", "model")

    def __init__(self, model: torch.nn.Module) -> None:
        tensors = _named(model)
        self.model = model
        self._first = _ties(tensors)
        own = [(name, tensors[name]) for name in dict.fromkeys(self._first.values())]
        if not own:
            raise WeightsError(f"{type(model).__name__} has no parameters and no buffers")
        self.layout = Layout.plan((name, _carried(name, tensor), tuple(tensor.shape)) for name, tensor in own)
        self._held = self._hold(tensors)

    @property
    def averaged(self) -> frozenset[str]:
        """The module's buffers, such as the running statistics of a batch normalisation."""
        return frozenset(name for name, _ in self.model.named_buffers() if name in self._first)

    def snapshot(self, allocate: Allocate = plain_memory) -> Weights:
        """A copy of the model's tensors."""
        held = self._current()
        weights = Weights(self.layout, allocate(self.layout.nbytes))
        held.store(weights)
        return weights

    def load(self, weights: Weights) -> None:
        """Copy weights into the model's tensors.

        Raises:
            WeightsError: another layout, or a tensor of the model whose shape or kind changed.
        """
        self._agree(weights.layout)
        self._current().load(weights)

    def target(self) -> Target | None:
        """The model's flat buffers, if it lies flat in this machine's memory and travels as what it is."""
        return self._current().target()

    def delta(self, base: Weights, allocate: Allocate = plain_memory) -> Weights:
        """The model minus `base`, in the dtypes of the layout."""
        self._agree(base.layout)
        held = self._current()
        weights = Weights(base.layout, allocate(base.layout.nbytes))
        held.subtract(base, weights)
        return weights

    def as_dict(self, weights: Weights) -> dict[str, torch.Tensor]:
        """A state dict on the CPU in private memory, in the model's dtypes; tied names share a tensor.

        Of a `peft.PeftModel` it holds what travels: `load_state_dict(..., strict=False)` takes it.
        """
        self._agree(weights.layout)
        return _state(weights, self._first, self._current().dtypes)

    def _current(self) -> _Flat | _Scattered:
        """The model's tensors as they are now."""
        if not self._held.intact():
            self._held = self._hold(_named(self.model))
        return self._held

    def _hold(self, tensors: Tensors) -> _Flat | _Scattered:
        """Lay the tensors flat if that can be done; they must still be those of the layout."""
        if (ties := _ties(tensors)) != self._first:
            changed = sorted(set(ties.items()) ^ set(self._first.items()))[0][0]
            raise WeightsError(f"tensor {changed} has been added, removed, tied or untied since the first round")
        for entry in self.layout.entries:
            tensor = tensors[entry.name]
            if tuple(tensor.shape) != entry.shape or _carried(entry.name, tensor).kind != entry.dtype.kind:
                raise WeightsError(f"tensor {entry} has become {tensor.dtype}{list(tensor.shape)}")
        places = [place for place in _places(self.model) if place.name in tensors]
        if _can_lie_flat(self.layout, places, tensors, self._first):
            return _Flat(self.model, self.layout, places, self._first)
        return _Scattered(self.model, tensors, self._first)

    def _agree(self, layout: Layout) -> None:
        """Adopt the other side's layout object when it is equal: the next comparison is then by identity."""
        if layout is not self.layout:
            if layout != self.layout:
                raise WeightsError(f"these weights do not fit the model: {self.layout.difference(layout)}")
            self.layout = layout


def tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Arrays as tensors, over the same memory."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class _Place(NamedTuple):
    """One tensor of a model: its name, and the dict of its module that holds it."""

    name: str
    owner: dict[str, Any]
    key: str
    tensor: torch.Tensor


class _Flat:
    """A model whose tensors are views of one buffer per segment."""

    def __init__(
        self, model: torch.nn.Module, layout: Layout, places: Sequence[_Place], first: Mapping[str, str]
    ) -> None:
        self.dtypes = {place.name: place.tensor.dtype for place in places}
        self._flats = _lay_flat(layout, places, first)
        self._hosts = [_as_numpy(f, s.dtype) for f, s in zip(self._flats, layout.segments, strict=True)]
        self._watched = [(place.owner, place.key, place.tensor, place.tensor.data_ptr()) for place in places]
        holders = [holder for m in model.modules() for holder in (m._modules, m._parameters, m._buffers)]
        self._lengths = [(holder, len(holder)) for holder in holders]
        self._fixed = [
            (holder, key, value)
            for holder in holders
            for key, value in holder.items()
            if not isinstance(value, torch.Tensor)
        ]

    def intact(self) -> bool:
        """Whether every tensor and submodule is the one that was laid: a few tens of nanoseconds for each."""
        for owner, key, tensor, address in self._watched:
            if owner.get(key) is not tensor or tensor.data_ptr() != address or not tensor.is_contiguous():
                return False
        for holder, length in self._lengths:
            if len(holder) != length:
                return False
        # The loops are spelled out because a generator expression would double their cost.
        for holder, key, value in self._fixed:  # noqa: SIM110
            if holder.get(key) is not value:
                return False
        return True

    def store(self, out: Weights) -> None:
        """Copy the model into `out`."""
        for flat, host, segment in zip(self._flats, self._hosts, out.segments, strict=True):
            if host is not None:
                segment[...] = host
            else:
                torch.from_numpy(segment).copy_(flat)

    def load(self, weights: Weights) -> None:
        """Copy weights into the model."""
        for flat, host, segment in zip(self._flats, self._hosts, weights.segments, strict=True):
            if host is not None:
                host[...] = segment
            else:
                flat.copy_(torch.from_numpy(segment if segment.flags.writeable else segment.copy()))

    def target(self) -> Target | None:
        """The flat buffers, if numpy can see them."""
        hosts = [[host] for host in self._hosts if host is not None]
        return Target(hosts) if len(hosts) == len(self._hosts) else None

    def subtract(self, base: Weights, out: Weights) -> None:
        """Write the model minus `base` into `out`."""
        for flat, host, before, after in zip(self._flats, self._hosts, base.segments, out.segments, strict=True):
            if host is None:
                torch.from_numpy(after).copy_(flat)
                host = after
            np.subtract(host, before, out=after)


class _Scattered:
    """A model that is copied tensor by tensor, through its own state dict."""

    def __init__(self, model: torch.nn.Module, tensors: Tensors, first: Mapping[str, str]) -> None:
        self.dtypes = {name: tensor.dtype for name, tensor in tensors.items()}
        self._model = model
        self._tensors = tensors
        self._first = first

    def intact(self) -> bool:
        """Never: the state dict is asked for at every use."""
        return False

    def store(self, out: Weights) -> None:
        """Copy the model into `out`."""
        for name, array in out.arrays().items():
            tensor = self._tensors[name].detach().cpu()
            np.copyto(array, (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())

    def load(self, weights: Weights) -> None:
        """Copy weights into the model."""
        # Everything that the model has is in the weights, or is none of theirs: the layout has been compared.
        self._model.load_state_dict(_state(weights, self._first, self.dtypes), strict=False)

    def target(self) -> None:
        """None: it is loaded as a whole."""

    def subtract(self, base: Weights, out: Weights) -> None:
        """Write the model minus `base` into `out`."""
        self.store(out)
        for before, after in zip(base.segments, out.segments, strict=True):
            np.subtract(after, before, out=after)


def _named(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What travels of the state dict; it must be ordinary tensors with values."""
    tensors: dict[str, torch.Tensor] = model.state_dict()
    peft = sys.modules.get("peft")
    if peft is not None and isinstance(model, peft.PeftModel):
        tensors = {name: tensors[name] for name, own in model.named_parameters() if own.requires_grad}
        if not tensors:
            raise WeightsError("the PEFT model has nothing to train: make it with `inference_mode=False`")
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise WeightsError(f"{name} of the state dict is {type(tensor).__name__}; only tensors can be sent")
        if torch.nn.parameter.is_lazy(tensor) or tensor.is_meta:
            raise WeightsError(f"tensor {name} has no values yet: put one batch through the model in `initialize`")
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise WeightsError(f"tensor {name} is sparse or quantised; only ordinary tensors can be sent")
    return tensors


def _carried(name: str, tensor: torch.Tensor) -> np.dtype[Any]:
    """The dtype in which a torch tensor travels."""
    if tensor.dtype not in STANDS_FOR:
        raise WeightsError(f"tensor {name} is {tensor.dtype}, which cannot be carried")
    return carried(name, np.dtype(STANDS_FOR[tensor.dtype]))


def _ties(tensors: Tensors) -> dict[str, str]:
    """For every name the first name under which the same values appear: itself, unless it is tied."""
    seen: dict[object, str] = {}
    first = {}
    for name, t in tensors.items():
        same = (t.data_ptr(), t.shape, t.stride(), t.dtype, t.device) if t.numel() else name
        first[name] = seen.setdefault(same, name)
    return first


def _places(model: torch.nn.Module) -> list[_Place]:
    """Every parameter and persistent buffer, in the order in which an ordinary `state_dict` lists them."""
    found = []
    for prefix, module in model.named_modules(remove_duplicate=False):
        for holder, left_out in (
            (module._parameters, ()),
            (module._buffers, module._non_persistent_buffers_set),
        ):
            for key, tensor in holder.items():
                if tensor is not None and key not in left_out:
                    found.append(_Place(f"{prefix}.{key}" if prefix else key, holder, key, tensor))
    return found


def _can_lie_flat(layout: Layout, places: Sequence[_Place], tensors: Tensors, first: Mapping[str, str]) -> bool:
    """Whether the state dict is an ordinary one, over tensors that may move into one buffer per segment."""
    if [place.name for place in places] != list(tensors):
        return False
    for place in places:
        same = place.tensor.data_ptr() == tensors[place.name].data_ptr()
        if not same or not place.tensor.is_contiguous() or type(place.tensor) not in (torch.Tensor, torch.nn.Parameter):
            return False
    own = [tensors[entry.name] for entry in layout.entries]
    kinds = {(entry.dtype, tensors[entry.name].dtype) for entry in layout.entries}
    ranges = sorted((tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes) for tensor in own if tensor.numel())
    return (
        len({tensor.device for tensor in own}) == 1
        and len(kinds) == len(layout.segments)
        and all(before[1] <= after[0] for before, after in pairwise(ranges))
    )


def _lay_flat(layout: Layout, places: Sequence[_Place], first: Mapping[str, str]) -> list[torch.Tensor]:
    """Move the tensors into one flat tensor per segment; the tensor objects stay the same."""
    groups: dict[str, list[torch.Tensor]] = {}
    for place in places:
        groups.setdefault(first[place.name], []).append(place.tensor)
    flats: list[torch.Tensor] = []
    with torch.no_grad():
        for entry, (number, where) in zip(layout.entries, layout.spans, strict=True):
            tensors = groups[entry.name]
            if number == len(flats):
                flats.append(
                    torch.empty(layout.segments[number].size, dtype=tensors[0].dtype, device=tensors[0].device)
                )
            view = flats[number][where].view(entry.shape)
            view.copy_(tensors[0])
            for tensor in tensors:
                tensor.data = view
    return flats


def _as_numpy(flat: torch.Tensor, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """A numpy view of a flat tensor, where it is in this machine's memory and travels as what it is."""
    if flat.device.type != "cpu" or STANDS_FOR[flat.dtype] != dtype.name or flat.dtype == torch.bfloat16:
        return None
    view: NDArray[Any] = flat.numpy()
    return view


def _state(weights: Weights, first: Mapping[str, str], dtypes: Mapping[str, torch.dtype]) -> dict[str, torch.Tensor]:
    """Weights as a state dict: one private copy per segment, and views of it."""
    layout = weights.layout
    copies = [torch.from_numpy(segment.copy()) for segment in weights.segments]
    tensors = {
        entry.name: copies[number][where].view(entry.shape).to(dtypes[entry.name])
        for entry, (number, where) in zip(layout.entries, layout.spans, strict=True)
    }
    return {name: tensors[first[name]] for name in dtypes}
