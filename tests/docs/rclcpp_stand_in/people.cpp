// What the example gets: two people, the second further along the axis but nearer; then nobody.
#include <rclcpp/rclcpp.hpp>
#include <smap_ros/msg/body_array.hpp>

namespace
{
smap_ros::msg::Body person(int number, double x, double z)
{
  smap_ros::msg::Body body;
  body.id = number;
  body.pose.position.x = x;
  body.pose.position.z = z;
  return body;
}
}  // namespace

void rclcpp::init(int, const char * const *) {}

void rclcpp::spin(std::shared_ptr<Node> node)
{
  smap_ros::msg::BodyArray people;
  people.bodies = {person(7, 4.0, 2.0), person(3, 0.0, 3.0)};
  node->deliver(&people);
  people.bodies.clear();
  node->deliver(&people);
}
