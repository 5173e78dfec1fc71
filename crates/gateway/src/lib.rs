//! The door: holds the line with each charger and loses nothing.
