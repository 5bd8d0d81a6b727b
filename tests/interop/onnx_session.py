"""onnxruntime's sessions, and how far two arrays are apart."""
import numpy as np
import onnxruntime


def session(path_or_bytes, plain=False, exact=False):
    """plain: no rewriting. exact: uint8 times int8 as it is, without saturating at 16 bits (x86 without VNNI); products of floats
    and dequantized weights in floats, not of inputs that are rounded to 8 bits on the way."""
    o = onnxruntime.SessionOptions()
    o.log_severity_level = 4
    if plain:
        o.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if exact:
        o.add_session_config_entry("session.x64quantprecision", "1")
        o.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    return onnxruntime.InferenceSession(path_or_bytes, o, providers=["CPUExecutionProvider"])


def difference(a, b):
    """Largest difference, as a part of the largest number of b; infinite if it is not even the same shape."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or (a.dtype != b.dtype):
        return float("inf")
    if a.size == 0:
        return 0.0
    a, b = a.astype(np.float64), b.astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)) or not np.array_equal(a[~np.isfinite(a)], b[~np.isfinite(b)], True):
        return float("inf")
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    if a.size == 0 or np.array_equal(a, b):
        return 0.0
    return float(np.max(np.abs(a - b)) / max(np.max(np.abs(b)), 1e-30))
