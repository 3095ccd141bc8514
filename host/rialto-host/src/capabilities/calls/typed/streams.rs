//! Streams of services that a component imports by their own types.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{LinkerInstance, Resource, ResourceType, Val};

use super::Typed;
use crate::capabilities::calls::OpenItems;
use crate::hires::{Hire, HireError};
use crate::interface::Stream;
use crate::state::CallState;

/// A stream that is open, and the function that returned it.
struct TypedItems {
    items: Resource<OpenItems>,
    typed: Arc<Typed>,
}

/// Defines a resource of another service's interface that is a stream, with its `next`.
pub(super) fn define(
    defined: &mut LinkerInstance<'_, CallState>,
    name: &str,
) -> wasmtime::Result<()> {
    let ty = ResourceType::host::<TypedItems>();
    defined.resource(name, ty, |mut store, rep| {
        let state: &mut CallState = store.data_mut();
        let entry = state.table.delete(Resource::<TypedItems>::new_own(rep))?;
        // Dropped, it is ended.
        state.table.delete(entry.items)?;
        Ok(())
    })?;
    defined.func_new_async(
        &format!("[method]{name}.next"),
        |store, _, params, results| Box::new(next(store, params, results)),
    )
}

/// Calls the method, and gives the resource.
pub(super) async fn open(
    typed: &Arc<Typed>,
    mut store: StoreContextMut<'_, CallState>,
    hire: Hire,
) -> wasmtime::Result<Result<Val, HireError>> {
    let state = store.data_mut();
    let items = match state.hire_items(hire).await? {
        Ok(items) => items,
        Err(error) => return Ok(Err(error)),
    };
    let items = state.push_handle(items)?;
    let handle = state.push_handle(TypedItems {
        items,
        typed: Arc::clone(typed),
    })?;
    let resource = handle.try_into_resource_any(&mut store)?;
    Ok(Ok(Val::Resource(resource)))
}

async fn next<'a>(
    mut store: StoreContextMut<'a, CallState>,
    params: &'a [Val],
    results: &'a mut [Val],
) -> wasmtime::Result<()> {
    let odd = || HireError::Failed("it is no stream".to_owned());
    let [Val::Resource(resource)] = params else {
        return Err(odd().into());
    };
    let handle: Resource<TypedItems> = resource.try_into_resource(&mut store)?;
    let state = store.data_mut();
    let entry = state.table.get(&handle)?;
    let typed = Arc::clone(&entry.typed);
    let items = Resource::new_borrow(entry.items.rep());
    let item = state.next_item(&items).await?;
    let stream = typed.signature.stream().ok_or_else(odd)?;
    let item = match item {
        Ok(item) => typed.item(stream, item.as_ref()),
        Err(error) => Err(error),
    };
    if let (Some(slot), Some(value)) = (results.first_mut(), typed.wrapped(&stream.pulling, item)?)
    {
        *slot = value;
    }
    Ok(())
}

impl Typed {
    /// An item of the stream, or none, as `next` has it.
    fn item(&self, stream: &Stream, item: Option<&Bytes>) -> Result<Val, HireError> {
        let item = item.map(|item| self.value(&stream.item, item).map(Box::new));
        Ok(Val::Option(item.transpose()?))
    }
}
