"""The inputs on which a model is measured and warmed up: those that are given, and made ones for the rest."""
