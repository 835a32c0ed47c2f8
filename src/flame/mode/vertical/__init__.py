"""A model that is split among parties that hold different columns of the same samples."""
