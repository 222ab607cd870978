"""A trained student to a sealed bundle: ONNX graph, golden requests, registry, cold items."""
