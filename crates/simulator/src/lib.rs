//! The other side: chargers by the thousand, with a real offline queue.
