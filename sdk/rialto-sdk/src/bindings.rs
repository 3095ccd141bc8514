//! Generated imports: `rialto:tensor`, `rialto:service`, `rialto:mesh`, `wasi:config` and `wasi:keyvalue`.
//!
//! Only what a service calls reaches its component's imports. The wrappers beside this module are the
//! interface for authors.

pub(crate) mod compute {
    wit_bindgen::generate!({
        path: "../../wit/tensor",
        world: "rialto:tensor/imports",
    });
}

pub(crate) mod config {
    wit_bindgen::generate!({
        path: "../../wit/wasi-config",
        world: "wasi:config/imports",
    });
}

pub(crate) mod keyvalue {
    wit_bindgen::generate!({
        path: "../../wit/wasi-keyvalue/draft2",
        world: "wasi:keyvalue/imports",
    });
}

pub(crate) mod mesh {
    wit_bindgen::generate!({
        path: "../../wit/mesh",
        world: "rialto:mesh/imports",
    });
}

pub(crate) mod call {
    wit_bindgen::generate!({
        path: "../../wit/service",
        world: "rialto:service/imports",
    });
}
