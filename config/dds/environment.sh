# Lets whole images through between processes: source it, then start a camera's driver there.
#   source environment.sh && ros2 run usb_cam usb_cam_node_exe
# The launch files of smap_ros give the same to our own nodes. What you have set stays as it is.
if [ -n "${ZSH_VERSION:-}" ]; then
  eval '_smap_ros_file=${(%):-%x}'
else
  _smap_ros_file=${BASH_SOURCE:-}
fi
if [ -z "$_smap_ros_file" ]; then
  echo "environment.sh: this shell doesn't say where the file is; source it with bash or zsh" >&2
else
  _smap_ros_profile=$(cd "$(dirname "$_smap_ros_file")" && pwd)/fastdds.xml
  if [ -z "${FASTRTPS_DEFAULT_PROFILES_FILE:-}${FASTDDS_DEFAULT_PROFILES_FILE:-}${FASTDDS_BUILTIN_TRANSPORTS:-}" ]; then
    case ${ROS_DISTRO:-} in
      humble | iron | jazzy) export FASTRTPS_DEFAULT_PROFILES_FILE=$_smap_ros_profile ;;
      ?*) export FASTDDS_DEFAULT_PROFILES_FILE=$_smap_ros_profile ;; # Kilted and newer
      *)
        export FASTRTPS_DEFAULT_PROFILES_FILE=$_smap_ros_profile
        export FASTDDS_DEFAULT_PROFILES_FILE=$_smap_ros_profile
        ;;
    esac
  fi
  export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-268435456}
  export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-1073741824}
fi
unset _smap_ros_file _smap_ros_profile
