//! What happens at the door, in numbers.

/// What happens at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoorLoad {
    /// Calls that run.
    pub running: u32,
    /// Those of them that want the processor where requests are served: what is limited.
    pub computing: u32,
    /// Those of them that compute in the background. The others wait for something else.
    pub background: u32,
    /// Calls that wait.
    pub waiting: usize,
    /// Calls that may run now.
    pub places: u32,
    /// Bytes of host memory that running calls may fill with values.
    pub values_bytes: u64,
    /// Calls that were let in, ever.
    pub admitted: u64,
}
