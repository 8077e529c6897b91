"""Export side of lightsr: from a checkpoint to verified fp32 and int8 ONNX files."""
