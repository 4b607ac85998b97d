"""GLSL programs of the renderer."""

VS = """#version 330
in vec3 position; in vec3 normal; in vec2 uv;
uniform mat4 view_projection; uniform mat4 shadow_matrix;
uniform vec3 light_sky; uniform vec3 light_ground; uniform vec3 light_side;
uniform vec3 light_side_direction; uniform vec3 eye; uniform bool two_sided;
out vec3 world; out vec3 n; out vec2 st; out vec3 ambient; out vec3 shadow_at;
void main() {
  world = position; st = uv;
  n = normalize(normal + vec3(0.0, 0.0, 1e-6));
  if (two_sided && dot(n, eye - position) < 0.0) n = -n;
  // Hemisphere plus one broad side light; darker near the floor where less light arrives.
  float up = 0.5 + 0.5 * n.z;
  float side = 0.5 + 0.5 * dot(n, light_side_direction);
  float open = 0.72 + 0.28 * smoothstep(0.0, 0.7, position.z) ;
  ambient = (mix(light_ground, light_sky, up) + light_side * side * side) * open;
  vec4 s = shadow_matrix * vec4(position + normal * 0.015, 1.0);
  shadow_at = s.xyz * 0.5 + 0.5;
  gl_Position = view_projection * vec4(position, 1.0);
}
"""

FS = """#version 330
in vec3 world; in vec3 n; in vec2 st; in vec3 ambient; in vec3 shadow_at;
uniform sampler2D albedo; uniform sampler2D pattern; uniform sampler2DShadow shadow_map;
uniform vec3 light_direction; uniform vec3 light_colour; uniform vec3 eye;
uniform vec3 tint; uniform vec3 tint2; uniform float pattern_scale; uniform float grey;
uniform float gloss; uniform float alpha_cut; uniform float exposure; uniform float blur;
uniform float label;
out vec4 pixel;
float lit() {
  if (any(lessThan(shadow_at, vec3(0.0))) || any(greaterThan(shadow_at, vec3(1.0)))) return 1.0;
  vec3 p = vec3(shadow_at.xy, shadow_at.z - 0.0012);
  return 0.25 * (texture(shadow_map, p + vec3(blur, 0.4 * blur, 0.0))
    + texture(shadow_map, p + vec3(-0.4 * blur, blur, 0.0))
    + texture(shadow_map, p + vec3(-blur, -0.4 * blur, 0.0))
    + texture(shadow_map, p + vec3(0.4 * blur, -blur, 0.0)));
}
void main() {
  vec4 texel = texture(albedo, st);
  if (texel.a < alpha_cut) discard;
  vec3 base = texel.rgb * texel.rgb;  // sRGB to linear, with gamma 2
  base = mix(base, vec3(dot(base, vec3(0.3, 0.6, 0.1))), grey);
  base *= mix(tint, tint2, texture(pattern, st * pattern_scale).r);
  vec3 normal = normalize(n);
  float facing = max(dot(normal, light_direction), 0.0);
  float light = facing > 0.0 ? facing * lit() : 0.0;
  vec3 c = base * (ambient + light_colour * light);
  if (gloss > 0.0) {
    vec3 v = normalize(eye - world);
    float h = max(dot(normal, normalize(v + light_direction)), 0.0);
    h *= h; h *= h; h *= h; h *= h;
    float rim = 1.0 - max(dot(normal, v), 0.0);
    c += gloss * (light_colour * light * h * 3.0 + ambient * rim * rim * rim);
  }
  c *= exposure;
  c = c * (2.51 * c + 0.03) / (c * (2.43 * c + 0.59) + 0.14);  // ACES curve (Narkowicz 2015)
  pixel = vec4(sqrt(clamp(c, 0.0, 1.0)), label);
}
"""

DEPTH_VS = """#version 330
in vec3 position; uniform mat4 view_projection;
void main() { gl_Position = view_projection * vec4(position, 1.0); }
"""

DEPTH_FS = """#version 330
void main() {}
"""

BACKDROP_VS = """#version 330
in vec2 corner; out vec2 st;
void main() { st = corner * 0.5 + 0.5; gl_Position = vec4(corner, 0.9999, 1.0); }
"""

BACKDROP_FS = """#version 330
in vec2 st; uniform sampler2D image; out vec4 pixel;
void main() { pixel = vec4(texture(image, st).rgb, 0.0); }
"""
