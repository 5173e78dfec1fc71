//! The clerk: applies each record once in effect.
