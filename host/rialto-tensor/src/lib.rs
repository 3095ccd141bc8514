//! Tensor and model engines behind one narrow trait.
