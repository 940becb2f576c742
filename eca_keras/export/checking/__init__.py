"""What an exported file is worth: its outputs beside those of the model."""
