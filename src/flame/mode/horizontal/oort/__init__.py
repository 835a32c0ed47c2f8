"""Synchronous roles of which those are asked that teach most and answer soonest, under the paths that programs use."""
