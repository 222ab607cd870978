"""Export of a trained student: ONNX graph, golden requests, sealed bundle, publication, cold items."""
