"""Client halves of optimizers, as they are written for Cisco's Flame."""
