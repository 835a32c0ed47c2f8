"""One model that travels from trainer to trainer."""
