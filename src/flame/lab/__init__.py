"""What a run left behind, made readable.

`history` reads a run directory; `curves` and `timeline` draw; `report` writes one self-contained page;
`result` is what `flame.run(...)` returns to a notebook. Everything here reads finished files: nothing takes
part in a run.
"""
