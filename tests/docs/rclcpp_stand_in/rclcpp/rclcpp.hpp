// Stands in for rclcpp where ROS isn't installed: the calls of docs/nearest.md with rclcpp's own
// signatures. spin() hands the callback what deliver() says and returns.
#pragma once

#include <cstddef>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace rclcpp
{
class Logger {};

template<typename Message>
class Subscription {};

class Node
{
public:
  explicit Node(const std::string &) {}

  Logger get_logger() const {return {};}

  template<typename Message, typename Callback>
  std::shared_ptr<Subscription<Message>> create_subscription(
    const std::string &, std::size_t, Callback && callback)
  {
    deliver = [call = std::forward<Callback>(callback)](const void * message) {
        call(*static_cast<const Message *>(message));
      };
    return std::make_shared<Subscription<Message>>();
  }

  std::function<void(const void *)> deliver;
};

void init(int, const char * const *);
void spin(std::shared_ptr<Node> node);
}  // namespace rclcpp

#define RCLCPP_INFO(logger, ...) ((void)(logger), std::printf(__VA_ARGS__), std::printf("\n"))
