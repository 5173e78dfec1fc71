//! What we say.
