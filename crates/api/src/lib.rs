//! The desk: lets people and programs see.
