//! The attribute macro behind the Rialto SDK.
