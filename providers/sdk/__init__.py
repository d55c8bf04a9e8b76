"""What every provider plugin of this project is made of: the protocol between it and the engine.

A plugin describes its resource types (`resource.Resource`: a table of properties and what to do),
puts them together (`plugin.Plugin`) and serves them (`server.serve`). It is told apart from the
Pulumi SDK by its start: the engine starts each plugin on every preview, so nothing heavy is loaded
before it is needed.
"""
