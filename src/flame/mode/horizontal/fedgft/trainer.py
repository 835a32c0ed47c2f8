"""The path under which programs know this role."""

from flame.mode.biased import TAG_FETCH_BIAS, TAG_UPLOAD_BIAS, Trainer
from flame.mode.training import TAG_FETCH, TAG_UPLOAD

__all__ = ["TAG_FETCH", "TAG_FETCH_BIAS", "TAG_UPLOAD", "TAG_UPLOAD_BIAS", "Trainer"]
