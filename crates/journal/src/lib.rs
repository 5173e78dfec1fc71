//! The notebook: bytes that survive a power cut, in order.
