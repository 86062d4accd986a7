"""What the model is: its input, its network, how it predicts and the manifest that travels with it."""


class ModelError(ValueError):
    """Something given to the model does not fit it; the message says what was wrong and what would be right."""
