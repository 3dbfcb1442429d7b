# The name of a platform of the description, such as "linux/arm64/v8".
platform:
"${platform.os}/${platform.architecture}"
+ (if platform ? variant then "/${platform.variant}" else "")
