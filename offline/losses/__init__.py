"""Loss functions that training and distillation share."""
