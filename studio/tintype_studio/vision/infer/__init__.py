"""Trained models at work, through ONNX Runtime; nothing here needs PyTorch."""
