//! Generated imports: `rialto:tensor` and `rialto:service`.
//!
//! Only what a service calls reaches its component's imports. The wrappers beside this module are the
//! interface for authors.

pub(crate) mod compute {
    wit_bindgen::generate!({
        path: "../../wit/tensor",
        world: "rialto:tensor/imports",
    });
}

pub(crate) mod call {
    wit_bindgen::generate!({
        path: "../../wit/service",
        world: "rialto:service/imports",
    });
}
