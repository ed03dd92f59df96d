"""Pictures of what was trained: curves of the training log, weights of the attention."""
