"""Training: the loss, the true perplexity, the trainer, checkpoints, the tracker."""
