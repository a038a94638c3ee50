"""An empty compiler_flag: Bazel's own BUILD files load it, nothing here reads it."""

def _compiler_flag_impl(_ctx):
    return [config_common.FeatureFlagInfo(value = "")]

compiler_flag = rule(implementation = _compiler_flag_impl)
