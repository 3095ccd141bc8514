//! The tools that `@modelcontextprotocol/conformance` looks for, as far as services can be such tools: values, refusals
//! and streams. They are free.

/// What a suite of tests calls.
#[rialto_sdk::service]
pub mod test {
    use rialto_sdk::Stream;

    /// Says always the same.
    pub fn simple_text() -> String {
        "This is a simple text response for testing.".to_owned()
    }

    /// Fails always.
    pub fn error_handling() -> Result<String, String> {
        Err("This tool intentionally returns an error for testing".to_owned())
    }

    /// Tells how far it is, three times.
    pub fn tool_with_progress() -> Stream<u32> {
        Stream::new([0, 50, 100])
    }
}
