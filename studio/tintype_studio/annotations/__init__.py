"""Annotation documents: strict geometry and one document per sample and annotation set."""
