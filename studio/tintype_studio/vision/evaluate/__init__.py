"""How good predictions are, measured against what is true; plain arrays in, figures and pictures out."""
