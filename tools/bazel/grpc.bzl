"""C++ from .proto files with Debian's protoc and grpc_cpp_plugin.

cc_proto_lib(name, srcs, deps) makes a cc_library of the messages;
cc_grpc_library(name, srcs, deps) of the messages and the services.

Include the result from the repository's root: "proto/gofer/gofer.grpc.pb.h".
An import in a .proto file is written from the root as well, and the library of the imported
file is named in deps; its .proto files in proto_deps.
"""

def _generate(name, srcs, proto_deps, grpc):
    outs = []
    for src in srcs:
        stem = src[:-len(".proto")]
        outs += [stem + ".pb.h", stem + ".pb.cc"]
        if grpc:
            outs += [stem + ".grpc.pb.h", stem + ".grpc.pb.cc"]
    flags = "--cpp_out=$(GENDIR)"
    if grpc:
        flags += " --grpc_out=$(GENDIR) --plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin"
    native.genrule(
        name = name + "_gen",
        srcs = srcs + proto_deps,
        outs = outs,
        cmd = "/usr/bin/protoc -I. %s %s" % (
            flags,
            " ".join(["$(location %s)" % s for s in srcs]),
        ),
        visibility = ["//visibility:private"],
    )
    return outs

def _library(name, srcs, deps, proto_deps, visibility, grpc, **kwargs):
    outs = _generate(name, srcs, proto_deps, grpc)
    native.cc_library(
        name = name,
        srcs = [o for o in outs if o.endswith(".cc")],
        hdrs = [o for o in outs if o.endswith(".h")],
        copts = ["-w"],
        deps = deps + [
            "//third_party/protobuf" if not grpc else "//third_party/grpc:grpc++",
        ],
        visibility = visibility,
        **kwargs
    )

def cc_proto_lib(name, srcs, deps = [], proto_deps = [], visibility = None, **kwargs):
    """Messages only."""
    _library(name, srcs, deps, proto_deps, visibility, False, **kwargs)

def cc_grpc_library(name, srcs, deps = [], proto_deps = [], visibility = None, **kwargs):
    """Messages and services."""
    _library(name, srcs, deps, proto_deps, visibility, True, **kwargs)
