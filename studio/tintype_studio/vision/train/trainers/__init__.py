"""One trainer for each pipeline; importing one may load torch and transformers."""
