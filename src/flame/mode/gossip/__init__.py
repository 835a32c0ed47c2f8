"""Models that are mixed with those of neighbours, on any graph."""
