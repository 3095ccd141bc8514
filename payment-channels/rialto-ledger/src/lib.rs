//! Durable channel state on redb, written in groups.
