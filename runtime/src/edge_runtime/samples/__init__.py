"""The inputs on which a model is measured and warmed up: given ones, and generated ones for the rest."""
