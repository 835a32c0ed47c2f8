"""Values to bytes and back, without ever running anything that came with the bytes.

- `codec`: any plain value to a `Payload` and back. `arrays` is the part of it that knows numpy and torch.
- `message`: the records that roles exchange: `Order` down, `Update` up, `Value` for a user's own function.
- `speech`: what processes say to each other over a network, around those messages.

The bytes are drawn in `docs/reference/wire-format.md`.
"""
