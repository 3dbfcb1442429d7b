# What a platform of the description is called: "linux/arm64/v8".
platform: "${platform.os}/${platform.architecture}" + (if platform ? variant then "/${platform.variant}" else "")
