//! The smallest service with an argument and a result: what a call costs without its work.

/// Greets.
#[rialto_sdk::service]
pub mod hello {
    /// Greets by name.
    pub fn hello(
        /// Who is greeted.
        name: String,
    ) -> String {
        format!("hello, {name}")
    }
}
