"""A small base for Pulumi provider plugins, on the engine's gRPC protocol.

A plugin describes its resource types (`resource.Resource`: a schema and the CRUD methods), bundles
them (`plugin.Plugin`) and serves them (`server.serve`).

Why not the SDK's own `pulumi.provider.experimental`: its `Diff` gets no old inputs, a create or
update cannot fail and still record the resource (`PartialFailureError`), and `Cancel` reaches no
running operation (`cancellation`). Loading the SDK would also double the start of each plugin,
which the engine starts on every preview (`stubs`).
"""
