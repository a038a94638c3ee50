"""Guest programs: plain Linux programs, linked statically, that run natively and in the sandbox."""

def static_program(name, srcs, copts = [], linkopts = [], **kwargs):
    native.cc_binary(
        name = name,
        srcs = srcs,
        copts = ["-O1"] + copts,
        linkopts = ["-static"] + linkopts,
        features = ["fully_static_link"],
        linkstatic = True,
        **kwargs
    )
