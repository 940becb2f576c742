"""Training of classifiers. Needs TensorFlow."""
