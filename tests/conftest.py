"""What holds for all tests."""

from hypothesis import settings

# A test states what is so, not how fast: on a busy machine any example may take long.
settings.register_profile("flame", deadline=None)
settings.load_profile("flame")
